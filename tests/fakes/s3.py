"""An S3 server of a test's own, over real HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from moto.server import ThreadedMotoServer

BUCKET = "clickpick-test"


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The environment in which s3fs finds it, set meanwhile; it has one empty bucket, BUCKET."""
    import boto3
    from s3fs import S3FileSystem

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",  # what moto takes, whatever it is
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    S3FileSystem.clear_instance_cache()  # they remember the address of an earlier server
    try:
        with mock.patch.dict(os.environ, environment):
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield environment
    finally:
        S3FileSystem.clear_instance_cache()
        server.stop()
