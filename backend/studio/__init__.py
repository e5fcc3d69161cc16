"""Label Studio's client."""

from backend.studio.client import Studio
from backend.studio.records import BackendInfo, ProjectInfo, TaskInfo, ViewInfo, WebhookInfo
from backend.studio.settings import origin_of

__all__ = ["BackendInfo", "ProjectInfo", "Studio", "TaskInfo", "ViewInfo", "WebhookInfo", "origin_of"]
