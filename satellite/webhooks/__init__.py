"""Webhooks: receivers are told of jobs' steps by HTTP, signed, again and again until they have taken it.

::

    event log --outbox.py--> webhook_deliveries --sender.py--> receiver
              one statement                     claim, POST, record

What is promised: every step that somebody has asked for is sent at least once, with the same `webhook-id`
each time, for about three days until it is taken. Not promised: the order.
"""
