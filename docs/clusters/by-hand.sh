# On every machine, the head too: the same Python, tuner, framework and Ray.
pip install 'convtuner[gpu,ray]'

# On the head, once: a token, without which anybody in the network could run code on your machines.
ray get-auth-token --generate
# Then, for every other machine:
ssh OTHER mkdir -p .ray && scp ~/.ray/auth_token OTHER:.ray/

# On the head: its own cores and GPUs are used, too; --num-cpus=0 keeps workers off it.
export RAY_AUTH_MODE=token
ray start --head --port=6379

# On every other machine, now or while the run is on:
export RAY_AUTH_MODE=token
ray start --address=HEAD:6379

# On the head: look, then run.
tuner doctor --engine ray --ray-address auto
tuner run experiment.yaml --engine ray --ray-address auto

# Afterwards, on every machine.
ray stop
