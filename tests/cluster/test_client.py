"""The Python client against the real system, while its ingress is killed."""

import os
import signal

from satellite import Client

INPUTS = 2000


def test_map_gives_every_answer_while_the_ingress_is_killed(system):
    killed, wrong, seen = [], [], 0
    with Client(system.url) as client:
        for result in client.map("moving_average", ([n] * 4 for n in range(INPUTS)), forecast_steps=1):
            if result["forecast"] != [float(seen)]:
                wrong.append(seen)
            seen += 1
            if seen == INPUTS // 4:
                killed = system.replicas()["Ingress"]
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
    system.wait_ready()
    assert (seen, wrong) == (INPUTS, [])
    assert killed and not set(killed) & set(system.replicas()["Ingress"])
