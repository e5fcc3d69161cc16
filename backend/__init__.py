"""The plugin. Threads of torch and OpenCV that wait for each other sleep instead of spinning, see below."""

import os

# OpenMP reads this when it is loaded, so it is said before anything imports torch. On two busy cores a spinning round
# took five to ten times as long as a sleeping one, and took the clicks' time meanwhile.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
