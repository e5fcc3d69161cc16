"""The status page: one server-rendered page a project, for whoever leads the annotation.

Requests only read tables and what is in memory; what takes longer happens in `backend.status.watch`.
"""
