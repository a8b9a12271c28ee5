"""Figures of other systems that our own stand beside, and the ones to reach."""

PUBLISHED = {
    "multistep_arithmetic": 44.0,
    "tracking_shuffled_objects": 90.7,
    "word_sorting": 44.3,
    "logical_deduction": 75.0,
    "dyck_languages": 44.3,
}
"""Best published first-mistake location, per cent (Tyen et al. 2024, tables 4 and 6: GPT-4, three ways of prompting)."""
REACH = {
    "multistep_arithmetic": 95.0,
    "tracking_shuffled_objects": 95.0,
    "word_sorting": 90.0,
    "logical_deduction": 85.0,
    "dyck_languages": 80.0,
}
