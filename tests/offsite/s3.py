# SPDX-License-Identifier: Apache-2.0
"""As much of S3 as the tests need to prepare buckets and to look at what arrived: requests signed
by the book (AWS Signature Version 4), independent of what the nodes use."""
import hashlib
import hmac
import http.client
import re
import ssl
import time
import urllib.parse


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        """Of an error: NoSuchKey ..."""
        found = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return found.group(1).decode() if found else ""

    def values(self, tag):
        return [text.decode() for text in
                re.findall(rb"<%b>([^<]*)</%b>" % (tag.encode(), tag.encode()), self.body)]


class Client:
    def __init__(self, host, port, ca, access_key, secret_key, region, token=None):
        self.host, self.port = host, port
        self.connection = http.client.HTTPSConnection(
            host, port, timeout=30, context=ssl.create_default_context(cafile=str(ca)))
        self.access_key, self.secret_key, self.token = access_key, secret_key, token
        self.region = region

    def call(self, method, path, query=None, body=b"", headers=None, service="s3", when=None):
        """@when: seconds since 1970, when it is not now."""
        moment = time.gmtime(when)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", moment)
        digest = hashlib.sha256(body).hexdigest()
        signed = {"host": f"{self.host}:{self.port}", "x-amz-date": stamp,
                  "x-amz-content-sha256": digest,
                  **{name.lower(): value for name, value in (headers or {}).items()}}
        if self.token:
            signed["x-amz-security-token"] = self.token
        names = ";".join(sorted(signed))
        arguments = "&".join(f"{quote(name)}={quote(str(value))}"
                             for name, value in sorted((query or {}).items()))
        target = urllib.parse.quote(path, safe="/-_.~")
        request = "\n".join([method, target, arguments,
                             *(f"{name}:{signed[name].strip()}" for name in sorted(signed)), "",
                             names, digest])
        scope = f"{stamp[:8]}/{self.region}/{service}/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope,
                          hashlib.sha256(request.encode()).hexdigest()])
        key = b"AWS4" + self.secret_key.encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, "
            f"Signature={hmac.digest(key, text.encode(), 'sha256').hex()}")
        target += "?" + arguments if arguments else ""
        try:
            return self._exchange(method, target, body, signed)
        except (http.client.HTTPException, OSError):
            self.connection.close()  # one that was kept may have ended
            return self._exchange(method, target, body, signed)

    def _exchange(self, method, target, body, headers):
        self.connection.request(method, target, body, headers)
        answer = self.connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())

    def make_bucket(self, name, lock=False):
        headers = {"x-amz-bucket-object-lock-enabled": "true"} if lock else {}
        answer = self.call("PUT", f"/{name}", headers=headers)
        assert answer.status == 200, answer.body

    def keys(self, bucket, prefix=""):
        answer = self.call("GET", f"/{bucket}", {"list-type": 2, "prefix": prefix})
        assert answer.status == 200, answer.body
        return answer.values("Key")

    def uploads(self, bucket):
        """Keys of unfinished multipart uploads."""
        answer = self.call("GET", f"/{bucket}", {"uploads": ""})
        assert answer.status == 200, answer.body
        return answer.values("Key")

    def read(self, bucket, key):
        answer = self.call("GET", f"/{bucket}/{key}")
        assert answer.status == 200, answer.body
        return answer.body

    def read_if_there(self, bucket, key):
        """None: it is gone."""
        answer = self.call("GET", f"/{bucket}/{key}")
        assert answer.status in (200, 404), answer.body
        return answer.body if answer.status == 200 else None

    def assume_role(self, role, seconds=900, when=None):
        """Temporary credentials: (access key, secret key, session token)."""
        body = urllib.parse.urlencode({
            "Action": "AssumeRole", "RoleArn": f"arn:aws:iam:::role/{role}",
            "RoleSessionName": "test", "DurationSeconds": seconds}).encode()
        answer = self.call("POST", "/", body=body, service="sts", when=when,
                           headers={"content-type": "application/x-www-form-urlencoded"})
        assert answer.status == 200, answer.body
        return tuple(answer.values(tag)[0]
                     for tag in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
