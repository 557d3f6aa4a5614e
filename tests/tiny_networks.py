"""Networks of original shape and hardly any width."""

UNETR = {
    "stem": [1, 2, 2],
    "filters": [4, 8, 8, 8],
    "depths": [1, 1, 1, 1],
    "heads": 2,
    "tokens": [4, 4, 4, 2],
    "base_filters": 4,
}
TYPED_UNETR = [f"MODEL.{name.upper()}={value}".replace(" ", "") for name, value in UNETR.items()]
