"""What runs in the processes that read customers' files: FFmpeg's demuxers and decoders, and what holds them in.

Whoever decodes calls `audiomill.audio.decode`; nothing but `worker` calls this package in production. It imports PyAV,
numpy, soxr and `audiomill.errors`, and nothing that knows a setting, a key, the database or the store.
"""
