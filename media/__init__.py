"""RTP in, audio files out. Knows no SIP, no SDP, no database."""
