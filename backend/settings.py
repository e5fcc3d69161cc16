"""All settings, read once from flags, the environment and ``.env``; nothing else reads the environment."""

from __future__ import annotations

import os
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MEGABYTE = 1 << 20
PRINTABLE = re.compile(r"[!-~]+")
MIN_PASSWORD, MIN_SECRET = 8, 16
DEEP_LEARNER = "finetune-deeplabv3plus-lite0"
"""The strongest learner that trains in minutes on a GPU; without one it would take hours."""


def default_data_folder() -> Path:
    """The user's data folder of this platform, with a folder of our own in it."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return base / "clickpick"


class Settings(BaseSettings):
    """Settings of one installation. Label Studio's own two names are kept; all others are ``CLICKPICK_*``."""

    model_config = SettingsConfigDict(
        env_prefix="CLICKPICK_",
        env_file=".env",
        extra="ignore",
        populate_by_name=True,
        frozen=True,
        hide_input_in_errors=True,  # it would show secrets
    )

    label_studio_url: str = Field("http://localhost:8080", validation_alias="LABEL_STUDIO_URL")
    label_studio_api_key: SecretStr = Field(SecretStr(""), validation_alias="LABEL_STUDIO_API_KEY")
    data: Path = Field(default_factory=default_data_folder)
    database_url: str = Field("", repr=False, description="may hold a password")
    shared: str = Field("", description="fsspec URL of versions and embeddings for several machines")
    basic_auth_user: str = Field("", description="what callers have to give; empty: nothing")
    basic_auth_pass: SecretStr = SecretStr("")
    webhook_secret: SecretStr = Field(SecretStr(""), description="header of Label Studio's webhooks")
    host: str = "127.0.0.1"
    port: int = Field(9090, ge=1, le=65535)
    threads: int = Field(64, ge=1, le=256, description="requests at once; most of them wait for the model")
    model_threads: int = Field(
        0, ge=0, le=64, description="model calls at once; 0: 2 on a processor, 1 on a GPU"
    )
    answer_seconds: float = Field(
        95.0,
        gt=0,
        description="a click that still waits for the model then is dropped: Label Studio gives up at 100",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")

    engine: Literal["local", "ray"] = Field("local", description="where models answer")
    ray_address: str = Field(
        "auto",
        pattern=r"^(auto|[^\s/]+:\d+)$",
        description="HOST:PORT of the cluster's head; auto: the cluster that this machine is a node of",
    )
    ray_min_replicas: int = Field(1, ge=1, description="segmenter replicas that are always there")
    ray_max_replicas: int = Field(4, ge=1, description="to which they grow with the clicks")
    ray_cpus: float = Field(1.0, ge=0, description="cores of one replica")
    ray_gpus: float = Field(0.0, ge=0, description="GPUs of one replica; 0.5: two share one")
    ray_batch: int = Field(
        1, ge=1, le=32, description="clicks that a replica takes up together; 1: each for itself"
    )
    ray_round_cpus: float = Field(
        1.0, gt=0, description="of a round on a cluster, and of each worker that scores for it"
    )
    ray_round_gpus: float = Field(
        0.0, ge=0, description="of the same; the deep learner's rounds have a whole one where there are any"
    )
    ray_shard_tasks: int = Field(4, ge=1, description="that a worker scores before it hands them over")
    ray_shards: int = Field(0, ge=0, description="of a round under way at once; 0: two for each worker")

    segmenter: str = "clicknet"
    loaded_segmenters: int = Field(2, ge=1, description="kept in memory at once, those used last")
    weights: Path | None = Field(None, description="folder of fetched and imported weights")
    offline: bool = Field(False, description="`clickpick weights fetch` downloads nothing")
    polygon_over_pixels: int = Field(4_000_000, ge=0)
    polygon_tolerance: float = Field(
        1.0, ge=0, le=50, description="pixels that polygons may be off their masks"
    )
    polygon_points: int = Field(99, ge=3, description="of a polygon at most, unless it needs more")
    embedding_cache_mb: int = Field(768, ge=1)
    precomputed_mb: int = Field(4096, ge=1, description="of the disk, for what `clickpick precompute` keeps")
    quality_min_area: int = Field(16, ge=0, description="pixels of a mask below which it carries a warning")
    quality_max_share: float = Field(0.995, gt=0, le=1, description="of the image's area; 1: any")
    quality_max_parts: int = Field(10, ge=0, description="0: any number")
    quality_max_holes: float = Field(0.2, ge=0, le=1, description="share of the filled mask; 1: any")
    quality_min_compactness: float = Field(0.05, ge=0, le=1, description="of the largest part, 1 for a disk")

    learner: str = "probe-lite0"
    deep_learner: str = Field(
        "auto", description="trained beside the rounds; empty: none, auto: with CUDA only"
    )
    deep_every: int = Field(200, ge=1, description="new labels since its last version that start it")
    acquisition: Literal[
        "random",
        "least_confidence",
        "margin",
        "balanced_margin",
        "entropy",
        "mc_dropout_soft",
        "mc_dropout_hard",
    ] = "balanced_margin"
    selection: Literal["top", "top5"] = "top5"
    initial: Literal["random", "coverage"] = Field("coverage", description="queries before any version")
    budget: Literal["image", "queue"] = "image"
    queries_per_task: int = Field(10, ge=1, le=20)
    debounce_seconds: float = Field(1.0, ge=0)
    debounce_limit_seconds: float = Field(20.0, ge=0)
    round_every: int = Field(
        1, ge=1, description="new labels since the live version that a round needs to fit again"
    )
    first_push: int = Field(2, ge=1, description="tasks scored and pushed before the rest of the queue")
    push_chunk: int = Field(32, ge=1)
    holdout_percent: int = Field(10, ge=0, le=50)
    gate_labels: int = Field(100, ge=1, description="held-out labels from which the gate holds")
    gate_margin: float = Field(0.02, ge=0, le=1)
    confirm_from: float = Field(
        0.85,
        ge=0,
        description="share of right held-out labels from which queries show classes; above 1: never",
    )
    confirm_labels: int = Field(30, ge=1, description="held-out labels from which that share counts")
    feature_cache_mb: int = Field(1024, ge=1)
    training_memory_mb: int = Field(0, ge=0, description="a training process's; 0: half of the machine's")
    annotated_mb: int = Field(
        256, ge=1, description="of a training process's memory, for what people have labelled"
    )
    versions_mb: int = Field(2048, ge=0, description="of one project; 0: any number of versions")

    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    max_image_bytes: int = Field(64 * MEGABYTE, ge=1)
    max_image_pixels: int = Field(100_000_000, ge=1)
    max_request_bytes: int = Field(64 * MEGABYTE, ge=1)
    request_seconds: float = Field(
        60.0, gt=0, description="for one request to arrive; with `clickpick serve`"
    )
    image_cache_mb: int = Field(512, ge=1)
    studio_timeout: float = Field(30.0, gt=0)

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(host.strip().lower() for host in value.split(",") if host.strip())
        return value

    @model_validator(mode="after")
    def _check_credentials(self) -> Settings:
        user, password = self.basic_auth_user, self.basic_auth_pass.get_secret_value()
        secret = self.webhook_secret.get_secret_value()
        names = "CLICKPICK_BASIC_AUTH_USER, CLICKPICK_BASIC_AUTH_PASS and CLICKPICK_WEBHOOK_SECRET"
        given = (user, password, secret)
        if not any(given):
            return self
        if not all(given):
            message = f"of {names} some are set and some are not; set all three, or none"
        elif not all(PRINTABLE.fullmatch(text) for text in given) or ":" in user:
            message = (
                f"{names} hold other characters than printable ASCII without spaces, or a colon in the user"
            )
        elif len(password) < MIN_PASSWORD or len(secret) < MIN_SECRET:
            message = (
                f"the password has {len(password)} characters and the webhook's secret {len(secret)}; expected at "
                f"least {MIN_PASSWORD} and {MIN_SECRET}, such as `openssl rand -hex 24` prints"
            )
        else:
            return self
        raise ValueError(message)

    @model_validator(mode="after")
    def _check_replicas(self) -> Settings:
        if self.ray_min_replicas > self.ray_max_replicas:
            message = (
                f"CLICKPICK_RAY_MIN_REPLICAS is {self.ray_min_replicas} and CLICKPICK_RAY_MAX_REPLICAS "
                f"{self.ray_max_replicas}; expected a maximum that is not below the minimum"
            )
            raise ValueError(message)
        return self

    @field_validator("shared")
    @classmethod
    def _check_shared(cls, value: str) -> str:
        if "@" in value.partition("://")[2].partition("/")[0]:
            message = (
                "CLICKPICK_SHARED holds a user or password; expected none: the storage's own client finds credentials "
                "in its environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
            raise ValueError(message)
        return value.strip()

    @field_validator("label_studio_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        value = value.rstrip("/")
        if "@" in value.partition("://")[2].partition("/")[0]:
            message = (
                "LABEL_STUDIO_URL holds a user or password; expected none: set LABEL_STUDIO_API_KEY instead"
            )
            raise ValueError(message)
        if not value.startswith(("http://", "https://")):
            message = f"LABEL_STUDIO_URL is {value!r}; expected http://... or https://..."
            raise ValueError(message)
        return value

    @property
    def token(self) -> str:
        return self.label_studio_api_key.get_secret_value().strip()

    @property
    def store_url(self) -> str:
        """Where the tables live: the setting, else a SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.data / 'clickpick.db'}"

    @property
    def weights_folder(self) -> Path:
        """``weights``, by default in the data folder."""
        return self.weights or self.data / "weights"

    @property
    def versions_folder(self) -> Path:
        return self.data / "versions"

    @property
    def candidates_folder(self) -> Path:
        return self.data / "candidates"

    @property
    def embeddings_folder(self) -> Path:
        """What `clickpick precompute` has encoded."""
        return self.data / "embeddings"

    @property
    def features_folder(self) -> Path:
        return self.data / "features"

    @property
    def deep_learner_name(self) -> str:
        """``deep_learner``, with "auto" resolved by the device; empty where there is none."""
        if self.deep_learner != "auto":
            return self.deep_learner
        return DEEP_LEARNER if self.torch_device.startswith("cuda") else ""

    @cached_property
    def torch_device(self) -> str:
        """``device``, with "auto" resolved to cuda, else mps, else cpu."""
        if self.device != "auto":
            return self.device
        import torch  # noqa: PLC0415 - seconds to import, and most commands need no device

        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
