"""The load: simulator clients that each send a message, wait for the answer, and send the next one."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import grpc
import numpy as np

from agent_server.bench.frames import columns, frames
from agent_server.bench.worker import work
from codriver.v1 import action_pb2, agent_service_pb2, agent_service_pb2_grpc, observation_pb2, tensor_pb2

WARM_UP_MESSAGES = 20
EPISODE_STEPS = 1000


class Client:
    """One stream of one session, with all its environments in each message."""

    def __init__(self, address: str, index: int, envs: int) -> None:
        """A client that is not yet connected.

        Args:
            address: The server.
            index: Number of the client; shifts its frames.
            envs: Environments, that is rows a message.
        """
        # a channel of its own, as a simulator on another machine would have
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._stub = agent_service_pb2_grpc.AgentServiceStub(self._channel)
        self._index, self.envs = index, envs
        self._step = self._episode = 0
        self.latencies_s: list[float] = []
        self.server_us: list[tuple[int, int]] = []
        self.batches: list[int] = []

    async def connect(
        self, spec: observation_pb2.ObservationSpec, action_spec: action_pb2.ActionSpec, data: str
    ) -> None:
        """Opens the session, attaches and warms up."""
        rows = frames(spec, 16 + self.envs, data)
        self._columns: list[list[tensor_pb2.TensorColumn]] = [
            columns(spec, {name: values[start : start + self.envs] for name, values in rows.items()})
            for start in range(16)
        ]
        session = await self._stub.OpenSession(
            agent_service_pb2.OpenSessionRequest(
                client_name="codriver bench",
                observation_spec=spec,
                action_spec=action_spec,
                num_envs=self.envs,
            )
        )
        self._session = session
        self._call: Any = self._stub.Drive()
        attach = agent_service_pb2.Attach(session_id=session.session_id, resume_token=session.resume_token)
        await self._call.write(agent_service_pb2.DriveRequest(attach=attach))
        await self._call.read()
        for _ in range(WARM_UP_MESSAGES):
            await self._exchange()

    async def run(self, seconds: float) -> None:
        """Measures for so long."""
        end = time.perf_counter() + seconds
        now = time.perf_counter()
        while now < end:
            actions = await self._exchange()
            before, now = now, time.perf_counter()
            self.latencies_s.append(now - before)
            self.server_us.append((actions.queue_us, actions.inference_us))
            self.batches.append(actions.forward_rows)

    async def close(self) -> None:
        """Closes the session."""
        await self._call.done_writing()
        await self._stub.CloseSession(
            agent_service_pb2.CloseSessionRequest(
                session_id=self._session.session_id, resume_token=self._session.resume_token
            )
        )
        await self._channel.close()  # type: ignore[call-arg]  # optional, but not in the stubs

    async def _exchange(self) -> action_pb2.ActionBatch:
        if self._step == EPISODE_STEPS:
            self._step, self._episode = 0, self._episode + 1
        first = self._step == 0
        kind = observation_pb2.STEP_KIND_FIRST if first else observation_pb2.STEP_KIND_MID
        request = agent_service_pb2.DriveRequest(
            observations=observation_pb2.ObservationBatch(
                env=range(self.envs),
                episode=[self._episode] * self.envs,
                step=[self._step] * self.envs,
                step_kind=[kind] * self.envs,
                tensors=self._columns[(self._step + self._index) % len(self._columns)],
            )
        )
        self._step += 1
        await self._call.write(request)
        response = await self._call.read()
        actions: action_pb2.ActionBatch = response.actions
        if actions.errors or len(actions.env) != self.envs:
            raise RuntimeError(f"the server answered: {response}")
        return actions


class Load:
    """All clients of a job, from connecting to closing."""

    def __init__(self) -> None:
        """Nothing connected."""
        self._clients: list[Client] = []

    async def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Does one of ``connect`` (address, envs, frames_per_message, data), ``run`` (seconds) and ``close``."""
        if job["do"] == "connect":
            await self._connect(job)
        elif job["do"] == "run":
            return await self._run(float(job["seconds"]))
        else:
            await asyncio.gather(*(client.close() for client in self._clients))
            self._clients = []
        return {}

    async def _connect(self, job: dict[str, Any]) -> None:
        address, per_message = job["address"], int(job["frames_per_message"])
        async with grpc.aio.insecure_channel(address) as channel:
            info = await agent_service_pb2_grpc.AgentServiceStub(channel).GetServerInfo(
                agent_service_pb2.GetServerInfoRequest()
            )
        policy = info.policies[0]
        count = int(job["envs"]) // per_message
        self._clients = [Client(address, index, per_message) for index in range(count)]
        await asyncio.gather(
            *(c.connect(policy.observation_spec, policy.action_spec, job["data"]) for c in self._clients)
        )

    async def _run(self, seconds: float) -> dict[str, Any]:
        clients = self._clients
        begin, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(client.run(seconds) for client in clients))
        elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
        latencies = np.array([t for client in clients for t in client.latencies_s]) * 1e3
        batches = np.array([b for client in clients for b in client.batches])
        queue, inference = np.array([us for client in clients for us in client.server_us]).T / 1e3
        p50, p99 = np.percentile(latencies, [50, 99])
        return {
            "messages": len(latencies),
            "actions_per_s": len(latencies) * clients[0].envs / elapsed,
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "queue_p50_ms": float(np.median(queue)),
            "inference_p50_ms": float(np.median(inference)),
            "rows_per_pass": float(1 / np.mean(1 / batches)),
            "client_cpu_us_per_message": cpu / len(latencies) * 1e6,
        }


def main() -> None:
    """Answers jobs until the input ends."""
    loop, load = asyncio.new_event_loop(), Load()
    work(lambda job: loop.run_until_complete(load.do(job)))
    loop.close()


if __name__ == "__main__":
    sys.setswitchinterval(1e-3)
    main()
