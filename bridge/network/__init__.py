"""How to reach other machines: proxies of the environment, trusted authorities, sockets."""
