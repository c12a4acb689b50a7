"""What nearly every command loads and asks first, once for all that a server starts: keys, and numerics."""

import torch

from plait.compute.machine import settled_numerics
from plait.keying import source_key
from plait.recogniser.continuous import write_continuous
from plait.recogniser.fitting import fit_model
from plait.report import write_report
from plait.robustness.run import run_robustness
from plait.study.run import run_study

source_key([fit_model, run_robustness, run_study, write_continuous, write_report])
threads = torch.get_num_threads()
torch.set_num_threads(1)  # no other threads have begun when processes are forked
settled_numerics("cpu")
torch.set_num_threads(threads)
