"""Order flow in: the simulated market, healthy and faulty routers, the gateway that asks the gate, publishing."""
