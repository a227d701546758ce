"""Runs a script on many hosts with asyncssh: KEY KNOWN_HOSTS ADDRESSES SCRIPT CONCURRENCY.

Key, known hosts and script are read once; no agent and no configuration file is looked at.
"""

import asyncio
import sys

import asyncssh


async def main(key_file, known_hosts_file, addresses_file, script_file, concurrency):
    key = asyncssh.read_private_key(key_file)
    known_hosts = asyncssh.read_known_hosts(known_hosts_file)
    with open(addresses_file) as file:
        addresses = file.read().split()
    with open(script_file) as file:
        script = file.read()
    turn = asyncio.Semaphore(int(concurrency))

    async def install(address):
        async with turn:
            async with asyncssh.connect(
                address, username="root", client_keys=[key], known_hosts=known_hosts, agent_path=None, config=[]
            ) as connection:
                await connection.run("sh -s", input=script, check=True)

    await asyncio.gather(*(install(address) for address in addresses))


asyncio.run(main(*sys.argv[1:]))
