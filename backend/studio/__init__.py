"""Label Studio's client."""

from backend.studio.client import Studio
from backend.studio.records import BackendInfo, ProjectInfo, TaskInfo, WebhookInfo
from backend.studio.settings import origin_of

__all__ = ["BackendInfo", "ProjectInfo", "Studio", "TaskInfo", "WebhookInfo", "origin_of"]
