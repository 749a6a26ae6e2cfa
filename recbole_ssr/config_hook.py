"""The plugin's defaults in stock RecBole, which reads those in the yamls of its own package."""

from __future__ import annotations

import functools

from recbole.config import Config

from recbole_ssr import registry
from recbole_ssr.errors import UserError
from recbole_ssr.settings import checked, settings_of


def _check_settings(config: Config) -> None:
    """Check what the plugin's yamls define; raise UserError for a value that cannot be taken."""
    profile, bank = map(config.final_config_dict.get, ("profile", "band_filter"))
    settings = [s for s in settings_of(config.model, profile, bank) if s.file != "recbole.yaml"]
    chosen = {s.name: config.external_config_dict[s.name] for s in settings
              if s.name in config.external_config_dict}
    config.final_config_dict.update(checked(chosen, settings))
    if type(config) is Config:
        _check_honoured(config.final_config_dict)


def _check_honoured(final: dict) -> None:
    """Raise UserError for what runs of this package do and RecBole's own loop does not."""
    disturbed = any(final.get(key) for key in ("feature_noise", "feature_missing", "drop_modality"))
    for key, default, matters in (("test_masking", "train and valid", True),
                                  ("train_share", 1.0, True), ("corruption_at", "both", disturbed)):
        if matters and final.get(key) not in (None, default):
            raise UserError(f"{key}={final[key]!r} is not for RecBole's own run_recbole, which "
                            "would evaluate as if it were not there: start the run with "
                            "recbole_ssr.run or run_recbole_ssr.py")


def install_config_hook() -> None:
    """Wrap RecBole's Config once, so that stock runs of plugin models get the plugin's defaults."""
    if getattr(Config._load_internal_config_dict, "of_recbole_ssr", False):
        return
    load, set_defaults = Config._load_internal_config_dict, Config._set_default_parameters

    @functools.wraps(load)
    def load_with_plugin(self, model, model_class, dataset):
        load(self, model, model_class, dataset)
        if registry.is_plugin_model(model):
            profile, bank = map(self.external_config_dict.get, ("profile", "band_filter"))
            for file in (registry.plugin_files(model, dataset, profile, bank)
                         + registry.prepared_settings(self, dataset)):
                self._update_internal_config_dict(str(file))

    @functools.wraps(set_defaults)
    def set_defaults_with_plugin(self):
        set_defaults(self)
        if registry.is_plugin_model(self.model):
            registry.use_dataset_folder(self)
            _check_settings(self)
            chosen = registry.model_class(self.model, self.final_config_dict.get("profile"))
            if self.model_class is not chosen:  # stock RecBole looks a class up by this name again
                self.final_config_dict["model"] = chosen.__name__

    load_with_plugin.of_recbole_ssr = True
    Config._load_internal_config_dict = load_with_plugin
    Config._set_default_parameters = set_defaults_with_plugin
