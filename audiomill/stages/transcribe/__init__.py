"""The stage `transcribe`: recordings in, transcripts out."""
