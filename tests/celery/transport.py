"""Keeps the tests apart that share a broker."""


def transport_options(queue: str) -> dict[str, str]:
    """Everything that Redis keeps for a test begins with the name of its queue; RabbitMQ does not mind."""
    return {"global_keyprefix": f"{queue}:"}
