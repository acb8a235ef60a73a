"""`kubernetes_sd_configs`: what the API server of a Kubernetes cluster knows (prometheus discovery/kubernetes).

`config.py` is the entry of a config file, `connection.py` and `kubeconfig.py` say how the API server is reached.
`api.py` lists and watches, `reflector.py` keeps a copy of a resource in step by that, and `discovery.py` publishes what
the module of the role (`pods.py`, `endpoints.py`, ...) makes of the copies. `objects.py` is the part of the API's
objects that is read.
"""
