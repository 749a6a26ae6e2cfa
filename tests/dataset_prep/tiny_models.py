"""Models of the real classes, small enough to be made in a test, with random weights."""

import torch

WORDS = ("red", "blue", "cotton", "shirt", "dress", "usb", "cable", "black", "a", "b", "c")
_VISION = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
               image_size=32, patch_size=8)


def sentence_model(folder, seed=0):
    """Save a BERT of width 32 with mean pooling as a sentence-transformers folder; return it."""
    import sentence_transformers
    from transformers import BertConfig, BertModel, BertTokenizerFast

    modules = getattr(sentence_transformers, "sentence_transformer", sentence_transformers)
    models = getattr(modules, "modules", None) or sentence_transformers.models
    torch.manual_seed(seed)
    bert = folder / "bert"
    bert.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (bert / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizerFast(str(bert / "vocab.txt")).save_pretrained(str(bert))
    config = BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2,
                        num_attention_heads=2, intermediate_size=64, max_position_embeddings=64)
    BertModel(config).save_pretrained(str(bert))
    word = models.Transformer(str(bert))
    model = sentence_transformers.SentenceTransformer(
        modules=[word, models.Pooling(32)], device="cpu")
    model.save(str(folder / "model"))
    return folder / "model"


def clip_model(folder, seed=0):
    """Save a CLIP of projection width 24 with its image processor; return its folder."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    text = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                vocab_size=50, max_position_embeddings=16)
    config = CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=24)
    return _saved(CLIPModel(config), folder)


def vit_model(folder, seed=0, classifier=False):
    """Save a ViT of width 32, with a pooler or, as a classifier, without; return its folder."""
    from transformers import ViTConfig, ViTForImageClassification, ViTModel

    torch.manual_seed(seed)
    kind = ViTForImageClassification if classifier else ViTModel
    return _saved(kind(ViTConfig(**_VISION)), folder)


def _saved(model, folder):
    from transformers import CLIPImageProcessor

    model.save_pretrained(str(folder))
    CLIPImageProcessor(size={"shortest_edge": 32},
                       crop_size={"height": 32, "width": 32}).save_pretrained(str(folder))
    return folder
