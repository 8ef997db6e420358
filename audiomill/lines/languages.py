"""Languages by their tags: the three letters that films call them by, and whether two tags mean the same. Data."""

_THREE = {
    "af": "afr", "am": "amh", "an": "arg", "ar": "ara", "as": "asm", "az": "aze", "ba": "bak", "be": "bel",
    "bg": "bul", "bn": "ben", "bo": "bod", "br": "bre", "bs": "bos", "ca": "cat", "cs": "ces", "cv": "chv",
    "cy": "cym", "da": "dan", "de": "deu", "el": "ell", "en": "eng", "eo": "epo", "es": "spa", "et": "est",
    "eu": "eus", "fa": "fas", "fi": "fin", "fo": "fao", "fr": "fra", "fy": "fry", "ga": "gle", "gd": "gla",
    "gl": "glg", "gn": "grn", "gu": "guj", "ha": "hau", "he": "heb", "hi": "hin", "hr": "hrv", "ht": "hat",
    "hu": "hun", "hy": "hye", "ia": "ina", "id": "ind", "is": "isl", "it": "ita", "ja": "jpn", "jv": "jav",
    "ka": "kat", "kk": "kaz", "kl": "kal", "km": "khm", "kn": "kan", "ko": "kor", "ku": "kur", "ky": "kir",
    "la": "lat", "lb": "ltz", "lo": "lao", "lt": "lit", "lv": "lav", "mi": "mri", "mk": "mkd", "ml": "mal",
    "mn": "mon", "mr": "mar", "ms": "msa", "mt": "mlt", "my": "mya", "nb": "nob", "ne": "nep", "nl": "nld",
    "nn": "nno", "no": "nor", "oc": "oci", "om": "orm", "or": "ori", "pa": "pan", "pl": "pol", "ps": "pus",
    "pt": "por", "qu": "que", "ro": "ron", "ru": "rus", "sc": "srd", "sd": "snd", "si": "sin", "sk": "slk",
    "sl": "slv", "sm": "smo", "sn": "sna", "so": "som", "sq": "sqi", "sr": "srp", "st": "sot", "su": "sun",
    "sv": "swe", "sw": "swa", "ta": "tam", "te": "tel", "tg": "tgk", "th": "tha", "tk": "tuk", "tl": "tgl",
    "tn": "tsn", "tr": "tur", "tt": "tat", "ug": "uig", "uk": "ukr", "ur": "urd", "uz": "uzb", "vi": "vie",
    "wo": "wol", "xh": "xho", "yi": "yid", "yo": "yor", "zh": "zho", "zu": "zul",
}  # fmt: skip
"""ISO 639-1 to 639-2/T, of the languages that an engine here may know."""

UNKNOWN = "und"


def three_letters(tag: str) -> str:
    """ISO 639-2/T of a BCP 47 tag, as film containers want it; `und` where it is not known."""
    base = base_of(tag)
    return _THREE.get(base, base if len(base) == len(UNKNOWN) else UNKNOWN)


def base_of(tag: str) -> str:
    """The language without its region: `es` of `es-419`."""
    return tag.lower().replace("_", "-").split("-")[0]


def same(one: str, other: str) -> bool:
    """Whether two tags mean one language: `en` and `en-gb` do, `es-es` and `es-mx` do not."""
    first, second = one.lower().replace("_", "-"), other.lower().replace("_", "-")
    return base_of(first) == base_of(second) and (first == second or "-" not in first or "-" not in second)
