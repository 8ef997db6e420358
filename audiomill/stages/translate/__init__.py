"""The stage `translate`: lines in, the same lines with what they are in another language out."""
