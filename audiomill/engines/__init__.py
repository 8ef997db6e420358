"""Engines: what every engine is (`protocol.py`), a folder per task with its protocol and a file per engine, the
registry, the model store, model lifetime, the core budget.

Heavy imports (torch, ctranslate2, pocketsphinx, …) stand inside functions: the API must never load them, the
code server only what `availability()` needs. No HTTP or vendor types cross this border.
"""
