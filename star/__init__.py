"""The engine. The libraries beneath it report nothing about its use to their makers, unless the user has said that they may."""

import os

if not {"HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK"} & os.environ.keys():
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "1"  # read when huggingface_hub is imported
