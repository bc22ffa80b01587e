"""The worker, or the caller, dies between any two database calls; the execution still ends once, and right.

The invariants that ``tests.invariants.check`` names by number:

I1  every accepted start has exactly one execution, the same key the same one; a rolled-back start has none
I2  every execution is closed, or parked on a wait that can still end, or stuck with a reason; no lease outlives its end
I3  one end per execution, and one more for each retry, told once by the audit trail
I4  one checkpoint per execution and name, positions without gaps; every replay sees the first run's value
I5  atomic effects: exactly one per completed step, none for any other
I6  ordinary effects: at least one per completed step, at most its attempts plus what was interrupted; at-most-once
    steps at most one; one idempotency key per step
I8  every accepted signal is kept, consumed at most once, by name in the order of acceptance
I9  no timer fires early, by the database's clock
I11 what is undone are completed steps, in the reverse order of their completion, each recorded once
I12 one child per recorded start; it ends with its parent, or as its start has said
I13 every accepted update is answered at most once, in the order of acceptance, before it rests; the reply is one
I14 what was continued is one chain with one end, which has taken over its key, its parent and what it was sent
I17 every recorded emit has exactly one event and one delivery for each receiver, no other has any; what is delivered
    was received, at most once for each attempt
I18 what a person has set aside is out of the history with all that was behind it; what is done again is told apart
I20 no limit has more holders than its capacity, nobody waits for one that has room, and no slot outlives its execution
"""
