"""What nearly every command loads and asks first, once for all that a server starts: the keys of code."""

from plait.keying import source_key
from plait.recogniser.continuous import write_continuous
from plait.recogniser.fitting import fit_model
from plait.report import write_report
from plait.robustness.run import run_robustness
from plait.study.run import run_study

source_key([fit_model, run_robustness, run_study, write_continuous, write_report])
