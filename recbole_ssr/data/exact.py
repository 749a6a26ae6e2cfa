"""RecBole's Dataset with the ids and the times of its files, none of them lost or rounded.

RecBole reads ids such as NA as missing and drops their interactions, and it turns times into
float32, which has steps of two minutes today, before it sorts by them. :class:`ExactDataset` is a
base that goes before any of RecBole's dataset classes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType

from recbole_ssr.data.atomic_blocks import Column
from recbole_ssr.data.atomic_files import line_of, read_columns, read_header
from recbole_ssr.data.atomic_numbers import WrongNumber, numbers
from recbole_ssr.data.grouping import Groups
from recbole_ssr.data.ids import flaw_of_id
from recbole_ssr.errors import UserError, nearest

# Attributes of RecBole's datasets that name a column of ids; those of graphs have all of them.
_ID_FIELDS = ("uid_field", "iid_field", "head_entity_field", "tail_entity_field", "entity_field",
              "relation_field")


class ExactDataset(Dataset):
    """RecBole's Dataset: every id is text as in the file, and order is that of the file's times.

    Equal times stay in the order of the rows. What models receive is RecBole's: ids from 1 on, and
    times as float32. Raises UserError, with file and line, for files that cannot be used.
    """

    def build(self) -> list[Dataset]:
        """Return RecBole's parts of the data, ordered by the exact times where it orders by time.

        Raises UserError where the times that a split needs are missing.
        """
        parts = super().build()
        for part in (self, *parts):
            self._round_times(part.inter_feat)
        return parts

    def time_based_split(self, ratios: Sequence[float], group_by: str) -> list[Dataset]:
        """Return train, valid and test: RecBole's TS on the rows that it means.

        Test is what comes after the percentile 1 - ratios[2] of all times; of the rows of a user up
        to there, the latest are for validation. RecBole applies masks of sorted rows to rows as
        they stand; the result is the same where those are in order of time.
        """
        share = [ratio / sum(ratios) for ratio in ratios]
        times, users = self._times_of(self.inter_feat).numpy(), self.inter_feat[group_by].numpy()
        # A time of the data, which int64 holds: none lies between it and RecBole's percentile.
        border = np.percentile(times, 100 * (1 - share[-1]), method="lower")
        order = np.argsort(times, kind="stable")
        parts: tuple[list[int], ...] = ([], [], [])
        for group in self._grouped_index(users[order]):
            rows = order[group]
            early, late = rows[times[rows] <= border], rows[times[rows] > border]
            trained = int(len(early) * (share[0] / (1 - share[2])))
            for part, chosen in zip(parts, (early[:trained], early[trained:], late)):
                part.extend(chosen.tolist())
        self._drop_unused_col()
        return [self.copy(self.inter_feat[part]) for part in parts]

    # RecBole's splits by user, without a list of Python's numbers for each user.

    def _grouped_index(self, group_by_list: np.ndarray) -> Groups:
        return Groups(np.asarray(group_by_list))

    def split_by_ratio(self, ratios: Sequence[float],
                       group_by: str | None = None) -> list[Dataset]:
        """Return RecBole's parts of each group by ratio; of all rows where `group_by` is None."""
        if group_by is None:
            return super().split_by_ratio(ratios, group_by)
        share = [ratio / sum(ratios) for ratio in ratios]
        groups = self._grouped_index(self.inter_feat[group_by].numpy())
        lengths, of = np.unique(groups.lengths, return_inverse=True)
        borders = np.array([self._calcu_split_ids(tot, share) for tot in lengths.tolist()])
        self._drop_unused_col()
        return [self.copy(self.inter_feat[rows]) for rows in groups.split(borders[of])]

    def _split_index_by_leave_one_out(self, grouped_index: Groups, leave_one_num: int) -> list:
        # Who has too few for every part has none in the first ones that are left out.
        steps = np.arange(leave_one_num, 0, -1)
        kept = np.maximum(grouped_index.lengths[:, None] - steps, 1)
        return grouped_index.split(kept)

    # Order of time.

    def _orders_by_time(self) -> bool:
        """Tell whether RecBole will sort the interactions by time, or compare their times."""
        if self.benchmark_filename_list is not None:
            return False
        protocol = self.config["eval_args"]
        return (protocol["order"] == "TO" or "TS" in (protocol["split"] or ())
                or hasattr(self, "data_augmentation"))

    def _remap_ID_all(self):
        # The rows are final here, still hold their tokens, and floats are not yet rescaled.
        if self._orders_by_time():
            self._check_times()
        super()._remap_ID_all()

    def _check_times(self) -> None:
        name, file = self.time_field, self._inter_file()
        if name not in self.inter_feat or self.field2type[name] != FeatureType.FLOAT:
            kind = f"{name}:{self.field2type[name].value}" if name in self.inter_feat else "none"
            raise UserError(
                f"The split orders by time, which needs the column {name}:float (TIME_FIELD) of "
                f"{file}; loaded is {kind}. Add it to the file and to load_col, correct "
                "TIME_FIELD, or choose a split without time (eval_args: {order: RO})."
            )
        if name in (self.config["discretization"] or ()):
            raise UserError(f"discretization has {name!r}, by which the split orders. Copy the "
                            "column under another name and put that into discretization.")
        wrong = np.flatnonzero(~np.isfinite(self.inter_feat[name].to_numpy(dtype=float)))
        if len(wrong):
            row = self.inter_feat.iloc[wrong[0]]
            raise UserError(
                f"{file}: {len(wrong):,} interactions have no finite {name}, by which the split "
                f"orders; one is that of user {row[self.uid_field]!r} with item "
                f"{row[self.iid_field]!r}. "
                "Fill them in, or leave them out."
            )

    def _remove_duplication(self):
        if self.config["rm_dup_inter"] is not None and self.time_field in self.inter_feat:
            # RecBole's own sort, which follows, would not keep the order of equal times.
            self.inter_feat.sort_values(self.time_field, kind="stable", inplace=True)
            self.inter_feat.drop_duplicates([self.uid_field, self.iid_field],
                                            keep=self.config["rm_dup_inter"], inplace=True)
            return
        super()._remove_duplication()

    def _dataframe_to_interaction(self, data: pd.DataFrame) -> Interaction:
        interaction = super()._dataframe_to_interaction(data)
        if data is self.inter_feat and self._orders_by_time():
            values = np.array(data[self.time_field].tolist())
            interaction.interaction[self.time_field] = torch.from_numpy(values)
        return interaction

    def _times_of(self, rows: Interaction) -> torch.Tensor:
        """Return the (n,) times; a field that is also a numerical feature has a second column."""
        values = rows[self.time_field]
        return values if values.dim() == 1 else values[:, 0]

    def _round_times(self, rows: Interaction) -> None:
        """Give models the times as RecBole would, and those of histories."""
        for name in (self.time_field, f"{self.time_field}{self.config['LIST_SUFFIX'] or ''}"):
            if isinstance(rows, Interaction) and name in rows.interaction:
                rows.interaction[name] = rows.interaction[name].float()

    # Hooks of RecBole's loading, in the order in which it calls them.

    def _download(self):
        raise UserError(
            f"The dataset folder {self.dataset_path} does not exist. Put "
            f"{self.dataset_name}.inter there, set data_path to the folder that holds "
            f"{self.dataset_name}/, or use the embedded dataset ml-100k."
        )

    def _load_inter_feat(self, token, dataset_path):
        names = [f"{token}.{part}.inter" for part in self.benchmark_filename_list or ()]
        for file in [os.path.join(dataset_path, name) for name in names] or [self._inter_file()]:
            self._check_header(file)
        super()._load_inter_feat(token, dataset_path)

    def _load_feat(self, filepath, source):
        load, unload = self._get_load_and_unload_col(source)
        if load == set():
            return None
        layout = self.config["field_separator"], self.config["encoding"]
        kinds = {name: FeatureType(kind) for name, kind in read_header(filepath, *layout).items()
                 if (load is None or name in load) and not (unload and name in unload)}
        if not kinds:
            self.logger.warning(f"No columns has been loaded from [{source}]")
            return None
        for name, kind in kinds.items():
            if source != "link":  # whose columns are known from the files that it links
                self.field2source[name], self.field2type[name] = source, kind
                self.field2seqlen |= {} if kind.value.endswith("seq") else {name: 1}
                self.field2bucketnum |= {name: 2} if "float" in kind.value else {}
        floats = [name for name, kind in kinds.items() if kind == FeatureType.FLOAT]
        columns = read_columns(filepath, *layout, list(kinds), floats)
        ids = {getattr(self, field, None) for field in _ID_FIELDS}
        try:
            return pd.DataFrame({name: self._values(name, kinds[name], column, name in ids)
                                 for name, column in columns.items()})
        except WrongCell as error:
            line = line_of(filepath, *layout, error.row)
            raise UserError(f"{filepath}, line {line}: {error}") from error

    def _values(self, name: str, kind: FeatureType, column: Column | np.ndarray, is_id: bool):
        """Return a column as RecBole has it before it numbers the tokens, (n,)."""
        if kind == FeatureType.TOKEN and is_id:
            for code, cell in enumerate(column.distinct):
                flaw = flaw_of_id(cell)
                if flaw:
                    raise WrongCell(column.first_row(code),
                                    f"{name} {flaw}. Write an id, or leave the line out.")
            return column.spread(column.distinct)
        if kind == FeatureType.TOKEN:
            return column.spread([cell or np.nan for cell in column.distinct])
        if kind == FeatureType.FLOAT:
            if isinstance(column, np.ndarray):
                return column
            try:
                return _numbers(name, kind, column.distinct)[column.codes]
            except WrongCell as error:
                raise WrongCell(column.first_row(error.row), str(error)) from error
        split = [[entry for entry in cell.split(self.config["seq_separator"]) if entry]
                 for cell in column.spread(column.distinct)]
        longest = max(map(len, split), default=0)
        most = min(longest, (self.config["seq_len"] or {}).get(name, longest))
        self.field2seqlen[name] = most
        if kind == FeatureType.FLOAT_SEQ:
            flat = _numbers(name, kind, [entry for entries in split for entry in entries], split)
            split = np.split(flat, np.cumsum([len(entries) for entries in split])[:-1])
        values = np.empty(len(split), dtype=object)
        for row, entries in enumerate(split):
            values[row] = np.array(entries[:most])
        return values

    def _filter_by_inter_num(self):
        # RecBole counts the interactions of everyone also where no number would be too few.
        keys = "user_inter_num_interval", "item_inter_num_interval"
        if not all(_keeps_all(self._parse_intervals_str(self.config[key])) for key in keys):
            super()._filter_by_inter_num()

    def _reset_index(self):
        if self.inter_feat.empty:
            raise UserError(
                f"No interaction of {self._inter_file()} is left. Check that the file has rows, "
                "and relax user_inter_num_interval, item_inter_num_interval and val_interval."
            )
        super()._reset_index()

    def _required_columns(self) -> list[tuple[str, str, tuple[FeatureType, ...]]]:
        """Return the setting, the column and its types of each column that .inter must have."""
        return [("USER_ID_FIELD", self.uid_field, (FeatureType.TOKEN,)),
                ("ITEM_ID_FIELD", self.iid_field, (FeatureType.TOKEN,))]

    def _check_header(self, file: str) -> None:
        columns = read_header(file, self.config["field_separator"], self.config["encoding"])
        load, unload = self._get_load_and_unload_col("inter")
        for key, name, types in self._required_columns():
            if columns.get(name) not in [known.value for known in types]:
                header = ", ".join(f"{column}:{kind}" for column, kind in columns.items())
                raise UserError(
                    f"{file} has the columns {header}, but {key} needs {name}:{types[0].value}."
                    f"{nearest(name, columns)} Add the column, or correct {key}."
                )
            if (load is not None and name not in load) or (unload is not None and name in unload):
                raise UserError(
                    f"{key} needs the column {name!r} of {file}, but load_col is {load} and "
                    f"unload_col {unload}. Add {name} to the list load_col has for inter, and take "
                    "it out of unload_col."
                )

    def _inter_file(self) -> str:
        return os.path.join(self.dataset_path, f"{self.dataset_name}.inter")


def _keeps_all(intervals: list[tuple[str, float, float, str]] | None) -> bool:
    """Tell whether every number from 0 on lies within; more than one interval are left to RecBole.

    Each is its bracket, its ends and its other bracket.
    """
    if intervals is None:
        return True
    if len(intervals) != 1:
        return False
    bracket, low, high, _ = intervals[0]
    return (low < 0 or low == 0 and bracket == "[") and high == np.inf


class WrongCell(ValueError):
    """A cell that cannot be used; its row, from 0."""

    def __init__(self, row: int, message: str):
        super().__init__(message)
        self.row = row


def _numbers(name: str, kind: FeatureType, cells: list[str],
             sequences: list[list[str]] | None = None) -> np.ndarray:
    """Return (n,) numbers; `sequences` tells the row of a cell where a row has several."""
    try:
        return numbers(cells)
    except WrongNumber as error:
        row = error.row
        if sequences is not None:
            ends = np.cumsum([len(entries) for entries in sequences])
            row = int(np.searchsorted(ends, row, side="right"))
        raise WrongCell(row, f"{name}:{kind.value} is {error.cell[:80]!r}, which is no number. "
                        "Correct it, or leave the cell empty.") from error
