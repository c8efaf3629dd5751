"""A model in a process of its own: a crash or a memory kill there is an error here.

messages   what goes through the pipes
values     errors and key-value states as messages
process    the process, seen from the program
calls      a call to it, with its callbacks and its cancelling
answer     a streamed answer
model      `IsolatedGritLM`, with the methods of `GritLM`
jobs       what the process does for each kind of call
child      the process itself
"""
