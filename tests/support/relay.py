"""A ProxyCommand for ssh that cuts the connection after LIMIT bytes from the host.

python relay.py PORT LIMIT
"""

import os
import socket
import sys
import threading


def send_input(connection: socket.socket) -> None:
    while data := os.read(0, 1 << 16):
        connection.sendall(data)


def main() -> None:
    port, limit = int(sys.argv[1]), int(sys.argv[2])
    received = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        threading.Thread(target=send_input, args=(connection,), daemon=True).start()
        while received < limit and (data := connection.recv(1 << 14)):
            os.write(1, data)
            received += len(data)
    os._exit(0)


if __name__ == "__main__":
    main()
