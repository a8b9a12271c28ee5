import streamlit as st

st.write("wait")
