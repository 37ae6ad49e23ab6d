# SPDX-License-Identifier: Apache-2.0
import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from ceph import Ceph  # noqa: E402
from target import S3Target  # noqa: E402

bucket_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def ceph(tmp_path_factory):
    """One server for all tests; each has buckets of its own."""
    ceph = Ceph(tmp_path_factory.mktemp("ceph"))
    try:
        ceph.start()
        yield ceph
    finally:
        ceph.close()


@pytest.fixture
def s3(ceph, tmp_path):
    """A target with a prefix in an empty bucket."""
    bucket = f"bucket-{next(bucket_numbers)}"
    ceph.client().make_bucket(bucket)
    return S3Target(ceph, bucket, tmp_path)


@pytest.fixture
def locked(ceph, tmp_path):
    """The same in a bucket with versions and object lock."""
    bucket = f"bucket-{next(bucket_numbers)}"
    ceph.client().make_bucket(bucket, lock=True)
    return S3Target(ceph, bucket, tmp_path)
