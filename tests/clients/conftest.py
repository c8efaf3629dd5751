"""Other people's packages, kept from reporting to their makers and from fetching anything."""

import os

os.environ.update(
    ANONYMIZED_TELEMETRY="False",  # chromadb
    HAYSTACK_TELEMETRY_ENABLED="False",
    LANGSMITH_TRACING="false",
    LITELLM_LOCAL_MODEL_COST_MAP="True",
)
