"""PolicyAdminService, health and reflection."""

import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agent_server.policies.card import PolicyCard
from agent_server.policies.directory import save_policy
from agent_server.policies.network import DrivingNetwork
from codriver.v1 import policy_admin_service_pb2 as pb
from codriver.v1 import policy_admin_service_pb2_grpc
from codriver.v1.action_pb2 import PolicyVersion

ARGUMENTS = {"channels": 2, "size": 8, "state_items": 3, "value_head": False}


@pytest.fixture
def served(start, tmp_path):
    server = start(admin_listen=f"unix:{tmp_path}/admin")
    channel = grpc.insecure_channel(server.server.admin_address)
    yield server, policy_admin_service_pb2_grpc.PolicyAdminServiceStub(channel)
    channel.close()


def save(path, kit, policy_id="echo", spec=None):
    card = PolicyCard(policy_id, "bev_cnn", spec or kit.SPEC, kit.ACTIONS, arguments=ARGUMENTS)
    save_policy(path, card, DrivingNetwork(**ARGUMENTS))
    return str(path)


def versions(policies):
    return [(p.policy_id, p.version) for p in policies]


def test_swap_and_roll_back_under_load(served, start, kit, tmp_path):
    server, admin = served
    stub = start.connect(server)
    driver, pinned = kit.Driver(stub), kit.Driver(stub, policy=PolicyVersion(policy_id="echo", version=1))
    stop, seen = threading.Event(), []

    def load():
        step = 0
        while not stop.is_set():
            answer = driver.ask(kit.rows((0, 0, step)))
            assert not answer.errors
            seen.append(answer.policy.version)
            step += 1

    thread = threading.Thread(target=load)
    thread.start()
    try:
        loaded = admin.LoadPolicy(pb.LoadPolicyRequest(path=save(tmp_path / "p", kit)), timeout=60)
        assert (loaded.policy.policy_id, loaded.policy.version) == ("echo", 2)
        kit.wait_until(lambda: seen and seen[-1] == 2)
        answer = pinned.ask(kit.rows((0, 0, 0)))
        assert answer.policy.version == 1 and answer.action[0] == 0.5 and answer.value
        listed = admin.ListPolicies(pb.ListPoliciesRequest(), timeout=10)
        assert versions(listed.loaded) == [("echo", 1), ("echo", 2)]
        assert versions(p.policy for p in listed.policies) == [("echo", 2)]
        back = admin.RollBackPolicy(
            pb.RollBackPolicyRequest(policy=PolicyVersion(policy_id="echo", version=1)), timeout=10
        )
        assert back.policy.version == 1
        kit.wait_until(lambda: seen[-1] == 1)
    finally:
        stop.set()
        thread.join()
    assert seen == sorted(seen[: seen.index(2)]) + [2] * seen.count(2) + [1] * (
        len(seen) - seen.index(2) - seen.count(2)
    )


def test_a_policy_that_cannot_be_loaded_leaves_the_old_one_serving(served, start, kit, tmp_path):
    server, admin = served
    status, reason, _ = kit.failure(admin.LoadPolicy, pb.LoadPolicyRequest(path=str(tmp_path / "none")))
    assert (status, reason) == ("FAILED_PRECONDITION", "POLICY_NOT_USABLE")
    assert kit.failure(admin.LoadPolicy, pb.LoadPolicyRequest())[0] == "INVALID_ARGUMENT"
    bad_id = pb.LoadPolicyRequest(path=save(tmp_path / "p", kit), policy_id="No Name")
    assert kit.failure(admin.LoadPolicy, bad_id)[2].field == "policy_id"
    gone = pb.RollBackPolicyRequest(policy=PolicyVersion(policy_id="echo", version=9))
    assert kit.failure(admin.RollBackPolicy, gone)[1] == "UNKNOWN_POLICY_VERSION"
    assert kit.Driver(start.connect(server)).ask(kit.rows((0, 0, 0))).policy.version == 1


def test_a_new_version_must_read_the_same_spec(served, start, kit, tmp_path):
    server, admin = served
    spec = kit.observation_pb2.ObservationSpec(tensors=[kit.MASKS, kit.STATE])
    spec.tensors[0].palettes[0].levels = bytes([0, 100, 255])
    path = save(tmp_path / "p", kit, spec=spec)
    status, reason, error = kit.failure(admin.LoadPolicy, pb.LoadPolicyRequest(path=path))
    assert (status, reason) == ("FAILED_PRECONDITION", "SPEC_MISMATCH") and error.violations
    other = admin.LoadPolicy(pb.LoadPolicyRequest(path=path, policy_id="other"), timeout=60)
    assert (other.policy.policy_id, other.policy.version) == ("other", 1)
    assert kit.Driver(start.connect(server)).ask(kit.rows((0, 0, 0))).policy.policy_id == "echo"


def test_drain_server(served, start, kit):
    server, admin = served
    driver = kit.Driver(start.connect(server))
    answer = admin.DrainServer(pb.DrainServerRequest(grace_ms=10_000, reason="maintenance"), timeout=10)
    assert answer.attached_streams == 1
    drain = driver.read().drain
    assert (drain.grace_ms, drain.reason) == (10_000, "maintenance")
    assert driver.ask(kit.rows((0, 0, 0))).action[0] == 0.5
    assert driver.done() == []
    kit.wait_until(lambda: not server._thread.is_alive())


def test_admin_is_not_served_to_drivers(served):
    server, _ = served
    with grpc.insecure_channel(server.address) as channel:
        stub = policy_admin_service_pb2_grpc.PolicyAdminServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListPolicies(pb.ListPoliciesRequest(), timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_health_by_service_name(served):
    server, _ = served
    serving = health_pb2.HealthCheckResponse.SERVING
    for address, name in [
        (server.address, "codriver.v1.AgentService"),
        (server.address, ""),
        (server.server.admin_address, "codriver.v1.PolicyAdminService"),
    ]:
        with grpc.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status == serving
            with pytest.raises(grpc.RpcError):
                stub.Check(health_pb2.HealthCheckRequest(service="codriver.v1.Nothing"), timeout=10)


def test_reflection_is_behind_a_flag(start, kit):
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    def services(address):
        with grpc.insecure_channel(address) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            answers = stub.ServerReflectionInfo(iter([request]), timeout=10)
            return [s.name for s in next(answers).list_services_response.service]

    assert "codriver.v1.AgentService" in services(start(reflection=True).address)
    assert kit.failure(services, start().address)[0] == "UNIMPLEMENTED"
