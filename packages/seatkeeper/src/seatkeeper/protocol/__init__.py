"""What an application and a license server must agree on: documents, problem codes, codes, signed envelopes.

Nothing in here opens a file or a socket, asks the time or draws a random number. Both ends import it, so a change here is
a change of the wire: only ever add.
"""
