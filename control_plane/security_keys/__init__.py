"""Security keys (WebAuthn) that people prove themselves and sign decisions with, at this control plane itself."""
