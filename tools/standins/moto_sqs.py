"""Corrections to moto's SQS, each of something that contradicts the SQS documentation. They are listed with their sources in
docs/aws-stand-ins.md; where ElasticMQ knows the matter it is the second opinion (platform/queue/sqsqueue, elasticmq_test.go).
"""

import threading
import time
from copy import deepcopy

from moto.sqs import models, responses

_request = threading.local()
_serial = threading.RLock()


def install(clock):
    """Corrects moto in this process. clock has millis(), advance(seconds) and gone(), all of the request that is being served."""
    models.unix_time_millis = clock.millis
    _exact_visibility()
    _dedup()
    _cheap_attributes()
    _receive(clock)
    _twelve_hours(clock)
    _system_attributes_in_batches()
    _one_request_at_a_time()


def _exact_visibility():
    # A message is visible when its timeout is over, not a microsecond later.
    models.Message.visible = property(lambda self: models.unix_time_millis() >= self.visible_at)


def _dedup():
    # A deduplication id is remembered for five minutes, also when its message was deleted, and belongs to its message group
    # if DeduplicationScope says so.
    add = models.Queue.add_message

    def add_message(self, message):
        if not self.fifo_queue or not message.deduplication_id:
            return add(self, message)
        seen = self.__dict__.setdefault("seen", {})
        grouped = self.deduplication_scope == "messageGroup"
        key = (message.group_id if grouped else "", message.deduplication_id)
        if message.sent_timestamp - seen.get(key, -models.DEDUPLICATION_TIME_IN_SECONDS * 1000) < models.DEDUPLICATION_TIME_IN_SECONDS * 1000:
            return None
        seen[key] = message.sent_timestamp
        with self._messages_lock:
            self._messages.append(message)
            self._messages_lock.notify_all()
        return None

    models.Queue.add_message = add_message


def _cheap_attributes():
    # Not wrong, only slow: the counts are made for every message that is sent, which takes minutes for some thousands.
    counts = [name for name in models.Queue.BASE_ATTRIBUTES if name.startswith("ApproximateNumberOf")]
    everything = models.Queue.attributes.fget
    models.Queue.BASE_ATTRIBUTES = [name for name in models.Queue.BASE_ATTRIBUTES if name not in counts]
    get = models.SQSBackend.get_queue_attributes

    def get_queue_attributes(self, queue_name, attribute_names):
        queue = self.get_queue(queue_name)
        wanted = [name for name in counts if name in attribute_names or "All" in attribute_names]
        rest = [name for name in attribute_names if name not in counts]
        found = get(self, queue_name, rest) if rest else {}
        for name in wanted:
            found[name] = getattr(queue, models.camelcase_to_underscores(name))
        if "All" in attribute_names:
            # Plays CloudWatch's ApproximateAgeOfOldestMessage, which moto has not. SQS has no such attribute.
            found["StandInOldestSent"] = min((m.sent_timestamp for m in queue._messages), default=None)
        return found

    models.Queue.attributes = property(everything)
    models.SQSBackend.get_queue_attributes = get_queue_attributes


def _receive(clock):
    receive = models.SQSBackend.receive_message

    def receive_message(self, queue_name, count, wait_seconds_timeout, visibility_timeout, message_attribute_names=None):
        queue = self.get_queue(queue_name)
        end = time.monotonic() + wait_seconds_timeout
        while True:
            # All whose visibility has ended are free, not only those before the one that is looked at: else the second of a
            # group is handed out before the first.
            for message in [m for m in queue._pending_messages if m.visible]:
                queue._pending_messages.discard(message)
            turns = queue.__dict__.setdefault("turns", {})
            if _request.turns:
                # Which group is next SQS does not say. Asked to, those come first that waited longest; else the oldest message does.
                queue._messages.sort(key=lambda m: turns.get(m.group_id, 0))
            found = _again(queue, visibility_timeout) or receive(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
            for message in found:
                turns[message.group_id] = max(turns.values(), default=0) + 1
            if found or time.monotonic() >= end:
                return _remember(queue, found)
            if clock.gone():
                return []  # else it takes for nobody what comes next
            _serial.release()
            began = time.monotonic()
            try:
                time.sleep(0.02)
            finally:
                _serial.acquire()
                clock.advance(time.monotonic() - began)

    models.SQSBackend.receive_message = receive_message


def _remember(queue, found):
    # A ReceiveRequestAttemptId gives the same messages and receipts again, as long as nothing became of them.
    if found and getattr(_request, "attempt", None):
        queue.__dict__.setdefault("attempts", {})[_request.attempt] = found
    for message in found:
        message.received_at = models.unix_time_millis()
        for own in queue._messages:
            if own.id == message.id:
                own.received_at = message.received_at
    return found


def _again(queue, visibility_timeout):
    found = queue.__dict__.get("attempts", {}).get(getattr(_request, "attempt", None), [])
    receipts = {m.receipt_handle: m for m in queue._messages}
    alive = [m for m in found if m.receipt_handle in receipts and not receipts[m.receipt_handle].visible]
    if not found or len(alive) < len(found):
        return []
    for message in alive:
        receipts[message.receipt_handle].change_visibility(visibility_timeout)
    return deepcopy(alive)


def _twelve_hours(clock):
    # The twelve hours that a visibility can be stretched to count from the receive, not from the send.
    change = models.SQSBackend.change_message_visibility

    def change_message_visibility(self, queue_name, receipt_handle, visibility_timeout):
        for message in self.get_queue(queue_name)._messages:
            if message.had_receipt_handle(receipt_handle):
                sent, message.sent_timestamp = message.sent_timestamp, getattr(message, "received_at", message.sent_timestamp)
                try:
                    return change(self, queue_name, receipt_handle, visibility_timeout)
                finally:
                    message.sent_timestamp = sent
        return change(self, queue_name, receipt_handle, visibility_timeout)

    models.SQSBackend.change_message_visibility = change_message_visibility


def _system_attributes_in_batches():
    # SendMessageBatch keeps MessageSystemAttributes (AWSTraceHeader) like SendMessage.
    send_batch = models.SQSBackend.send_message_batch

    def send_message_batch(self, queue_name, entries):
        sent, failed = send_batch(self, queue_name, entries)
        by_id = {entry["Id"]: entry.get("MessageSystemAttributes") or {} for entry in entries.values()}
        for message in sent:
            message.system_attributes = by_id[message.user_id]
        return sent, failed

    models.SQSBackend.send_message_batch = send_message_batch


def _one_request_at_a_time():
    # Two receives at once hand out the same message.
    for name in ["send_message", "send_message_batch", "receive_message", "delete_message", "delete_message_batch",
                 "change_message_visibility", "change_message_visibility_batch", "get_queue_attributes", "create_queue"]:
        setattr(responses.SQSResponse, name, _serialised(getattr(responses.SQSResponse, name)))


def _serialised(method):
    def serialised(self):
        with _serial:
            _request.turns = bool(self.headers.get("X-Turns"))
            _request.attempt = self._get_param("ReceiveRequestAttemptId") if method.__name__ == "receive_message" else None
            return method(self)

    serialised.__name__ = method.__name__
    return serialised
