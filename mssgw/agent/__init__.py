"""An agent that keeps warm what a verb of `mssgw dmp` needs, and the verb's way to it (docs/adr/0014).

places      where the agent of a configuration listens; files as a person's command line names them
frames      what goes over the socket
bars        a bar for a long transfer
client      the verb: hands its command line to the agent and is its terminal. Imports the standard library only, and little of it
server      the agent: who may come in, one thread for each visitor, when it ends

The agent knows no verb: `mssgw/cli/dmp/agent.py` gives it the function that runs one.
"""
