"""What people and models have said about a project's images, as files that other programs read."""

from backend.export.folder import ExportFolder
from backend.export.plan import ExportFormat
from backend.export.project import ExportRequest, export_project
from backend.export.run import Exported

__all__ = ["ExportFolder", "ExportFormat", "ExportRequest", "Exported", "export_project"]
