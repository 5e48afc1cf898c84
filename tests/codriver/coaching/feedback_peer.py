"""A small feedback service that does as a test says: real gRPC on a unix socket, scripted answers."""

from __future__ import annotations

import queue
import threading
import time
from concurrent import futures

import grpc

from codriver.v1 import feedback_pb2, feedback_service_pb2, feedback_service_pb2_grpc

VLM, CLIP = feedback_pb2.FEEDBACK_KIND_VLM_ACTION, feedback_pb2.FEEDBACK_KIND_CLIP_REWARD


def answer_to(request, **changes):
    """A good answer of the asked kind."""
    fields = {"key": request.key, "coach": request.coach, "model_id": "peer", "model_version": "1"}
    if request.kind == CLIP:
        fields["clip_reward"] = feedback_pb2.ClipReward(
            command_index=3, speed_index=2, anchor_probabilities=[0.5, *[0.5 / 29] * 29]
        )
    else:
        fields["vlm_action"] = feedback_pb2.VlmAction(throttle=0.5, steer=-0.25, brake=0.0)
    fields.update(changes)
    return feedback_pb2.Feedback(**fields)


def good(peer, request):
    """The usual script: one answer, at once."""
    return [answer_to(request)]


def silent(peer, request):
    """Takes everything, says nothing."""
    return []


class FeedbackPeer(feedback_service_pb2_grpc.FeedbackServiceServicer):
    """Serves on ``unix:PATH``; may be stopped and started again.

    ``script(peer, request)`` gives the answers to one request. ``received`` are all messages, ``asked`` all requests.
    """

    def __init__(self, path, script=good, coaches=(("vlm", VLM), ("clip", CLIP)), token=""):
        self.address = f"unix:{path}"
        self.script, self.coaches, self.token = script, coaches, token
        self.received, self.asked, self.streams, self.listed = [], [], 0, 0
        self.list_delay_s, self.break_streams, self.deaf = 0.0, False, False
        self._queues = []
        self._server = None

    def start(self):
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        self._server.start()
        return self

    def stop(self):
        if self._server is not None:
            server, self._server = self._server, None
            for outgoing in self._queues:
                outgoing.put(None)
            server.stop(0).wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def send(self, *feedback):
        """Says something unasked on every stream."""
        for outgoing in self._queues:
            outgoing.put(feedback_service_pb2.AnnotateResponse(feedback=feedback, credits=7))

    def wait(self, condition, limit_s=30):
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.005)

    def _admit(self, context):
        if self.token and ("authorization", f"Bearer {self.token}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    def ListCoaches(self, request, context):
        self.listed += 1
        self._admit(context)
        time.sleep(self.list_delay_s)
        response = feedback_service_pb2.ListCoachesResponse(
            max_pending_per_session=64, service_instance_id="x"
        )
        for name, kind in self.coaches:
            response.coaches.add(coach=name, kind=kind, model_id="peer", model_version="1", ready=True)
        return response

    def Annotate(self, requests, context):
        self._admit(context)
        self.streams += 1
        if self.break_streams:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone again")
        outgoing = queue.Queue()
        self._queues.append(outgoing)
        if self.deaf:  # reads nothing: sooner or later the asker cannot send any more
            outgoing.get()
            self._queues.remove(outgoing)
            return

        def read():
            try:
                for message in requests:
                    self.received.append(message)
                    for request in message.requests.requests:
                        self.asked.append(request)
                        answers = self.script(self, request)
                        if answers:
                            outgoing.put(feedback_service_pb2.AnnotateResponse(feedback=answers, credits=9))
            except grpc.RpcError:
                pass
            outgoing.put(None)

        threading.Thread(target=read, daemon=True).start()
        while True:
            response = outgoing.get()
            if response is None:
                break
            yield response
        self._queues.remove(outgoing)
