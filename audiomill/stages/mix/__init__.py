"""The stage `mix`: spoken lines and the background in, the dub out, as loud as the original."""
