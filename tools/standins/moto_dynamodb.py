"""Corrections to moto's DynamoDB and S3, each of something that contradicts the AWS documentation. They are listed with their
sources in docs/aws-stand-ins.md.
"""

import functools
import threading

from moto.dynamodb import responses
from moto.dynamodb.models import dynamo_type
from moto.s3 import responses as s3

# The largest item: 400 KB of 1,024 bytes.
LARGEST_ITEM = 400 << 10


def install():
    """Corrects moto in this process."""
    _sizes()
    _client_tokens()
    _one_request_at_a_time(responses.DynamoHandler, "call_action")
    _one_request_at_a_time(s3.S3Response, "key_response")


def _sizes():
    # Binary values count as they are, not as base64; numbers count two digits a byte; an attribute that is replaced no longer counts.
    size = dynamo_type.DynamoType.size

    def value_size(self):
        if self.is_binary() and isinstance(self.value, str):
            return len(self.value) // 4 * 3 - self.value[-2:].count("=")
        if self.is_binary():
            return len(self.value)
        if self.is_number():
            return (len(str(self.value).strip("-")) + 1) // 2 + 1
        return size(self)

    def set_attribute(self, key, value):
        others = sum(len(k.encode()) + v.size() for k, v in self.items() if k != key and isinstance(v, dynamo_type.DynamoType))
        new = len(key.encode()) + value.size() if isinstance(value, dynamo_type.DynamoType) else 0
        if others + new > LARGEST_ITEM:
            raise dynamo_type.ItemSizeTooLarge
        dict.__setitem__(self, key, value)

    dynamo_type.DynamoType.size = value_size
    dynamo_type.LimitedSizeDict.__setitem__ = set_attribute


def _client_tokens():
    # A transaction with the client token of one that was executed is not executed again.
    execute = responses.DynamoHandler.transact_write_items
    executed = {}

    @functools.wraps(execute)
    def execute_once(self):
        token = self.body.get("ClientRequestToken")
        key = (self.current_account, self.region, token)
        if not token or key not in executed:
            answer = execute(self)  # raises if the transaction was cancelled
            if not token:
                return answer
            executed[key] = answer
        return executed[key]

    responses.DynamoHandler.transact_write_items = execute_once


def _one_request_at_a_time(handler, method):
    # Conditions are tested and effects made in one step; moto interleaves the threads of its server.
    serial = threading.RLock()
    handle = getattr(handler, method)

    @functools.wraps(handle)
    def handle_alone(self, *args, **kwargs):
        with serial:
            return handle(self, *args, **kwargs)

    setattr(handler, method, handle_alone)
