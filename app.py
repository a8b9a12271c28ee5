"""The app: browse thousands of rationales and find the ones that are right for the wrong reason.

    streamlit run app.py                          the runs below runs/
    streamlit run app.py -- --root elsewhere      other runs
    streamlit run app.py -- --records FILE        a rationale file from somewhere else

`rationale-app` does the same from any folder; what is shown is made in analysis/pages.
"""

import sys

import streamlit as st

from analysis.pages.main import frame, loaded
from analysis.pages.widgets import context

if __name__ == "__main__":
    frame()
else:
    if status := context.check(sys.argv[1:]):
        sys.exit(status)
    app = st.App(__file__, lifespan=loaded)
