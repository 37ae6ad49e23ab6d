# SPDX-License-Identifier: Apache-2.0
import itertools
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.append(str(HERE.parent / "cluster"))  # cluster.py; its faults.py is another one

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


@pytest.fixture(scope="session")
def new_s3(ceph):
    """new_s3(directory): a target with a prefix in an empty bucket."""
    def make(directory):
        bucket = f"bucket-{next(bucket_numbers)}"
        ceph.client().make_bucket(bucket)
        return S3Target(ceph, bucket, directory)
    return make


@pytest.fixture
def s3(new_s3, tmp_path):
    return new_s3(tmp_path)


@pytest.fixture
def locked(ceph, tmp_path):
    """The same in a bucket with versions and object lock."""
    bucket = f"bucket-{next(bucket_numbers)}"
    ceph.client().make_bucket(bucket, lock=True)
    return S3Target(ceph, bucket, tmp_path)


@pytest.fixture(scope="session")
def role(ceph):
    """A role that everybody may take and that may do everything."""
    client = ceph.client()
    trust = ('{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":'
             '{"AWS":["arn:aws:iam:::user/strongroom"]},"Action":["sts:AssumeRole"]}]}')
    policy = ('{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*",'
              '"Resource":"arn:aws:s3:::*"}]}')
    for query in ({"Action": "CreateRole", "RoleName": "shipper", "Path": "/",
                   "AssumeRolePolicyDocument": trust},
                  {"Action": "PutRolePolicy", "RoleName": "shipper", "PolicyName": "all",
                   "PolicyDocument": policy}):
        answer = client.call("POST", "/", query)
        assert answer.status == 200, answer.body
    return "shipper"


def pytest_terminal_summary(terminalreporter):
    """Figures are worth a line of a run that passes, too."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "figures":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")
