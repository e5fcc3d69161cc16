"""What people and models have said about a project's images, as files that other programs read."""

from backend.export.folder import ExportFolder
from backend.export.plan import ExportFormat, ExportPlan
from backend.export.run import Exported, export_images

__all__ = ["ExportFolder", "ExportFormat", "ExportPlan", "Exported", "export_images"]
