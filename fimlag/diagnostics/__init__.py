"""Whether a motion and a method keep what they promise."""

from fimlag.diagnostics._energy import EnergyDrift as EnergyDrift, energy_drift as energy_drift
from fimlag.diagnostics._order import ObservedOrder as ObservedOrder, observed_order as observed_order
from fimlag.diagnostics._report import Finding as Finding, VerificationReport as VerificationReport
from fimlag.diagnostics._structure import symplecticity_defect as symplecticity_defect
from fimlag.diagnostics._verify import verify as verify
