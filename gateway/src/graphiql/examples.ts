/** The main use case as GraphiQL tabs, in the order to try them. A test validates each against the graph. */

export interface Example {
  readonly query: string;
  readonly variables?: string;
  readonly headers?: string;
}

const SIGNED_IN = JSON.stringify({ authorization: "Bearer <accessToken of startSession>" }, null, 2);

export const EXAMPLES: readonly Example[] = [
  {
    query: `# 1. A new person. The demo has ada@example.com and alan@example.com already: skip to the next tab.
mutation SignUp {
  signUp(input: { email: "grace@example.com", password: "correct horse battery staple" }) {
    email
  }
}
`,
  },
  {
    query: `# 2. Who it is. The grant is good once, for a minute: hand it to startSession.
mutation SignIn {
  signInWithPassword(input: { email: "ada@example.com", password: "correct horse battery staple" }) {
    grant
    expiresAt
  }
}
`,
  },
  {
    query: `# 3. The session begins. Put the accessToken into the Headers of the tabs that follow.
mutation StartSession($grant: String!) {
  startSession(
    input: { grant: $grant, applicationId: "continuo", device: { name: "My laptop", platform: LAPTOP } }
  ) {
    accessToken
    expiresIn
    refreshToken
    session {
      id
      expiresAt
      expiresBecause
    }
  }
}
`,
    variables: JSON.stringify({ grant: "<grant of SignIn>" }, null, 2),
  },
  {
    query: `# 4. Every device, with its sessions and how far its copy of the state is.
query Devices {
  me {
    email
  }
  viewer {
    devices {
      totalCount
      nodes {
        id
        name
        platform
        isCurrent
        isSignedIn
        lastSeenAt
        sessions {
          id
          application {
            name
          }
          expiresAt
          expiresBecause
        }
        syncStatus {
          ackedRev
          headRev
        }
      }
    }
  }
}
`,
    headers: SIGNED_IN,
  },
  {
    query: `# 5. What is stored. Its epoch goes into PushState.
query PullState {
  pullState {
    epoch
    to
    headRev
    serverNow
    hasMore
    entries {
      namespace
      key
      field
      value
      rev
    }
  }
}
`,
    headers: SIGNED_IN,
  },
  {
    query: `# 6. Store something. Acknowledged means committed; sent again it takes effect once.
mutation PushState($input: PushStateInput!) {
  pushState(input: $input) {
    outcomes {
      seq
      status
      rev
      reason
    }
    lastSeq
    headRev
    stop
  }
}
`,
    variables: JSON.stringify(
      {
        input: {
          clientId: "0b8f3a52-7f0e-4c35-9c57-0d8a3f1f5a01",
          epoch: "<epoch of PullState>",
          clientNow: 1_795_500_000_000,
          baseRev: 0,
          ops: [
            {
              seq: 1,
              namespace: "preferences",
              key: "reader",
              field: "theme",
              payload: { type: "SET", value: "dark" },
              stamp: { ms: 1_795_500_000_000, counter: 0 },
              baseRev: 0,
            },
          ],
        },
      },
      null,
      2,
    ),
    headers: SIGNED_IN,
  },
  {
    query: `# 7. Live state: leave it running, and push from another tab.
subscription StateChanges {
  stateChanges {
    from
    to
    reset
    entries {
      namespace
      key
      field
      value
      rev
    }
  }
}
`,
    headers: SIGNED_IN,
  },
  {
    query: `# 8. What this device does right now, and with which unit of the state: for a day, or until it ends.
mutation PublishActivity($input: PublishActivityInput!) {
  publishActivity(input: $input) {
    id
    lease {
      fence
      state
    }
  }
}
`,
    variables: JSON.stringify(
      {
        input: {
          kind: "watch",
          title: "Dune",
          uris: [{ platform: "web", uri: "https://films.example.com/dune" }],
          namespace: "playback",
          key: "dune",
          field: "position",
          stamp: { ms: 1_795_500_000_000, counter: 0 },
          clientNow: 1_795_500_000_000,
        },
      },
      null,
      2,
    ),
    headers: SIGNED_IN,
  },
  {
    query: `# 9. "What was I doing?": from any device of the same person.
query Resume {
  me {
    resume {
      activity {
        id
        title
        uris {
          platform
          uri
        }
      }
      device {
        name
      }
      ageMs
      point {
        position
        duration
        unit
      }
    }
  }
}
`,
    headers: SIGNED_IN,
  },
  {
    query: `# 10. Go on here, signed in on another device: the one that had it is asked for what it has not sent yet.
mutation TakeOver($activityId: ID!) {
  takeOver(activityId: $activityId) {
    fence
    flushed
    entry {
      value
    }
  }
}
`,
    variables: JSON.stringify({ activityId: "<id of an activity>" }, null, 2),
    headers: SIGNED_IN,
  },
  {
    query: `# 11. Live devices, with fields of two subgraphs.
subscription DeviceChanged {
  deviceChanged {
    from
    to
    devices {
      id
      name
      isSignedIn
      syncStatus {
        ackedRev
      }
      signOut {
        reason
        lockedOutAt
        confirmedAt
      }
    }
  }
}
`,
    headers: SIGNED_IN,
  },
  {
    query: `# 12. Sign a device out: its socket closes, its tokens are refused, the receipt tells which gateways confirmed it.
mutation SignOutDevice($id: ID!) {
  signOutDevice(id: $id) {
    receipt {
      seq
      sessionsEnded
      acks {
        replica
        at
        socketsClosed
      }
    }
    devices {
      id
      isSignedIn
      signOut {
        lockedOutAt
        confirmedAt
      }
    }
  }
}
`,
    variables: JSON.stringify({ id: "<id of a device>" }, null, 2),
    headers: SIGNED_IN,
  },
];
