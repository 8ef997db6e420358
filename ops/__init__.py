"""The steps of a run: claim a batch, work it off, close it. What that is: audiomill/milling and audiomill/stages."""
