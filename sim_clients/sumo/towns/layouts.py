"""The towns: alder, cedar and elder to train in, birch to test in, acorn for quick tests. Distances in metres."""

from __future__ import annotations

from sim_clients.sumo.towns.plan import Kind, Town

SIGNAL, STOP, ZEBRA = Kind.SIGNAL, Kind.STOP, Kind.ZEBRA


def alder() -> Town:
    """Training town: a grid with a two-lane avenue, rounded corners and a roundabout."""
    town = Town("alder")
    for name, x, y, kind in (
        ("west", 0, 140, SIGNAL),
        ("mill", 0, 280, STOP),
        ("south", 150, 0, SIGNAL),
        ("market", 150, 140, SIGNAL),
        ("north", 150, 420, STOP),
        ("quay", 310, 0, STOP),
        ("bridge", 310, 140, SIGNAL),
        ("school", 310, 280, SIGNAL),
        ("park", 310, 420, SIGNAL),
        ("east", 470, 140, SIGNAL),
        ("church", 470, 280, SIGNAL),
        ("zebra_park", 390, 280, ZEBRA),
        ("zebra_mill", 0, 210, ZEBRA),
        ("zebra_quay", 230, 0, ZEBRA),
    ):
        town.junction(name, x, y, kind)
    town.roundabout("ring", 150, 280, 20, {"e": 0, "n": 90, "w": 180, "s": 270})
    town.road("south", "west", (0, 0, 35))
    town.road("south", "zebra_quay")
    town.road("zebra_quay", "quay")
    town.road("quay", "east", (470, 0, 40))
    town.road("east", "church")
    town.road("church", "park", (470, 420, 45))
    town.road("park", "north")
    town.road("north", "mill", (0, 420, 30))
    town.road("mill", "zebra_mill")
    town.road("zebra_mill", "west")
    town.road("west", "market", lanes=2)
    town.road("market", "bridge", lanes=2)
    town.road("bridge", "east", lanes=2)
    town.road("south", "market")
    town.road("market", "ring.s")
    town.road("ring.n", "north")
    town.road("mill", "ring.w")
    town.road("ring.e", "school")
    town.road("quay", "bridge")
    town.road("bridge", "school", lanes=2)
    town.road("school", "zebra_park")
    town.road("zebra_park", "church")
    town.road("school", "park")
    return town


def cedar() -> Town:
    """Second training town: no right angle, streets that bend between their junctions."""
    town = Town("cedar")
    for name, x, y, kind in (
        ("forge", 170, -10, STOP),
        ("court", 340, 60, SIGNAL),
        ("wharf", 50, 215, SIGNAL),
        ("cross", 215, 180, SIGNAL),
        ("tower", 395, 235, SIGNAL),
        ("meadow", 545, 190, STOP),
        ("abbey", 185, 370, SIGNAL),
        ("castle", 365, 405, SIGNAL),
        ("zebra_abbey", 275, 385, ZEBRA),
    ):
        town.junction(name, x, y, kind)
    town.road("wharf", "forge", (20, 40, 40))
    town.road("forge", "court", (260, -30, 60))
    town.road("court", "meadow", (500, 20, 50))
    town.road("wharf", "abbey", (20, 380, 45))
    town.road("castle", "meadow", (540, 400, 50))
    town.road("wharf", "cross", lanes=2)
    town.road("cross", "tower", lanes=2)
    town.road("tower", "meadow")
    town.road("forge", "cross")
    town.road("court", "tower", lanes=2)
    town.road("cross", "abbey", (220, 270, 80))
    town.road("tower", "castle")
    town.road("abbey", "zebra_abbey")
    town.road("zebra_abbey", "castle")
    return town


def elder() -> Town:
    """Third training town: five spokes from a roundabout to a winding ring road."""
    town = Town("elder")
    for name, x, y, kind in (
        ("sunrise", 465, 300, SIGNAL),
        ("crown", 235, 455, SIGNAL),
        ("vale", -20, 300, STOP),
        ("lock", 120, 45, SIGNAL),
        ("ferry", 380, 50, SIGNAL),
        ("arcade", 115, 275, SIGNAL),
        ("zebra_lock", 250, 40, ZEBRA),
    ):
        town.junction(name, x, y, kind)
    town.roundabout("orbit", 260, 240, 28, {"e": 20, "n": 95, "w": 165, "s": 235, "q": 303})
    town.road("sunrise", "orbit.e")
    town.road("crown", "orbit.n")
    town.road("arcade", "orbit.w")
    town.road("vale", "arcade")
    town.road("lock", "orbit.s")
    town.road("ferry", "orbit.q")
    town.road("arcade", "lock", (95, 165, 60))
    town.road("sunrise", "crown", (400, 460, 60))
    town.road("crown", "vale", (20, 440, 55))
    town.road("vale", "lock", (-20, 110, 50))
    town.road("lock", "zebra_lock", lanes=2)
    town.road("zebra_lock", "ferry", lanes=2)
    town.road("ferry", "sunrise", (500, 90, 55), lanes=2)
    return town


def birch() -> Town:
    """Test town: slanted streets, a winding road, a five-sided block and a three-armed roundabout."""
    town = Town("birch")
    for name, x, y, kind in (
        ("harbour", 200, -10, SIGNAL),
        ("foundry", 380, 30, STOP),
        ("chapel", 10, 180, SIGNAL),
        ("square", 180, 150, SIGNAL),
        ("theatre", 350, 170, SIGNAL),
        ("garden", 520, 190, STOP),
        ("hill", 60, 340, SIGNAL),
        ("station", 240, 310, SIGNAL),
        ("college", 470, 350, SIGNAL),
        ("zebra_hill", 150, 325, ZEBRA),
        ("zebra_dock", 120, 5, ZEBRA),
    ):
        town.junction(name, x, y, kind)
    town.roundabout("orbit", 370, 320, 19, {"e": 15, "w": 180, "s": 262})
    town.road("zebra_dock", "harbour")
    town.road("harbour", "foundry", (290, -40, 80))
    town.road("foundry", "garden", (520, 40, 40))
    town.road("garden", "college", (540, 300, 50))
    town.road("college", "hill", (460, 450, 45), (70, 440, 45))
    town.road("hill", "chapel", (0, 260, 60))
    town.road("chapel", "zebra_dock", (-10, 80, 45), (40, 20, 30))
    town.road("hill", "zebra_hill")
    town.road("zebra_hill", "station")
    town.road("station", "orbit.w")
    town.road("orbit.e", "college")
    town.road("theatre", "orbit.s")
    town.road("chapel", "square", lanes=2)
    town.road("square", "theatre", lanes=2)
    town.road("theatre", "garden", lanes=2)
    town.road("harbour", "square")
    town.road("foundry", "theatre")
    town.road("square", "station", lanes=2)
    return town


def acorn() -> Town:
    """Fixture for tests: one crossing with lights and four loops around it, one with a stop and a zebra."""
    town = Town("acorn")
    town.junction("centre", 0, 0, SIGNAL)
    town.junction("end", 120, 0, STOP)
    town.junction("zebra", 60, 0, ZEBRA)
    town.road("centre", "zebra")
    town.road("zebra", "end")
    town.road("end", "centre", (120, 90, 25), (0, 90, 25))
    town.road("end", "centre", (120, -90, 25), (0, -90, 25), name="south")
    return town


LAYOUTS = {"alder": alder, "cedar": cedar, "elder": elder, "birch": birch, "acorn": acorn}
